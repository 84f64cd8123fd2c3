"""The channel sandbox: real servers on loopback that take e-mail, SMS and push, keep them, and show them in a browser.

`mailbox` keeps, `smtp` and `providers` are the two servers, `faults` tells them to fail, `pages` is the web inbox, `reactions`
plays the people who open and click. It is a process of its own and knows the engine only as an app does: by INSERT.
No message ever leaves the machine from here.
"""
