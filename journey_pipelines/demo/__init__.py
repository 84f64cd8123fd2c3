"""`make demo`: a shop, a channel sandbox and the program that starts them beside the engine and takes them down again.

Here lives what only the demo needs: the shop (an app as a user would write one, which knows the engine by its SQL contract
alone), the sandbox (an SMTP server and an HTTP provider that keep what they get), the conductor that starts and stops every
process, and the four counters that judge a run from files and tables. No engine code and no delivery code lives here, and
nothing here is imported by them; the conductor starts the engine as processes.
"""
