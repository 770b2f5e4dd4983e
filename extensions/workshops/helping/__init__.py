"""Brings help in a class: passes raised hands to helpers, and shows them copies of notebooks.

A helper sees a notebook only with the consent of its owner.
"""
