"""The courier: takes planned messages out of the ledger and gives each to its channel once.

`dispatch` is the loop; `gate` says who may be written to, `claim` commits the intent before the first byte, `settle` turns a channel's
answer into the ledger's next state, `rescue` looks after what a dead worker left; `actions` and `render` make the text, `addresses` and
`mime` what a mail is made of. `channels/` has a module per way out.

Not here: deciding that a message exists (the engine plans it), compiling expressions (consent comes as ready predicates), and what
recipients do afterwards (that arrives as events).
"""
