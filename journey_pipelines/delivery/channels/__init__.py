"""One module per way out. A channel takes rendered messages and answers with one outcome each; it knows no ledger and no template.

`smtp` is e-mail, `http` the generic providers of SMS and push, `webhook` the calls to other systems with the `guard` in front,
`configure` makes them from the settings. Vendors' own protocols get a module each.
"""
