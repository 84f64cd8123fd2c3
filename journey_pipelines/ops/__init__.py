"""Ops: work that is done but makes no asset of its own: sending what is due, and retiring old runs.

An op body reads its config, calls one function and logs its figures. How a message is sent is `journey_pipelines.delivery`'s business.
"""
