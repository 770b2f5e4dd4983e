"""Help in a class: passes raised hands to helpers, and shows helpers copies of notebooks.

A helper sees a notebook only with the consent of its owner.
"""
