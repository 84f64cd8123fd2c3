"""The revisions of schema `journeys`: a .sql file with all there is to read, and a .py file that gives it its place in the row.

A revision that has been released is never edited; there is no way back but a backup.
"""
