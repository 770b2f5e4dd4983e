"""Packs and unpacks a workshop's material, checks the names of its files, and finds its steps (tagged code cells).

Only the standard library is needed, since jobs use this package.
"""
