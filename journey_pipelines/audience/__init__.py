"""Who the customers are and how things stand: the story of one person, the state of the whole, tasks for people.

Reads only, but for closing a task. What decides about people is the engine's and the gate's; this says what they decided, from the rows
they wrote.
"""
