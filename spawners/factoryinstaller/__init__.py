"""``factorygate-install``: installs a whole gateway on one machine.

It uses the standard library only, since it runs on a bare system before any other package is installed.
"""
