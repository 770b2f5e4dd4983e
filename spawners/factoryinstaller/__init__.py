"""Installs a whole gateway on one machine: ``factorygate-install``. Standard library only, since it runs on a bare
system, before anything of ours is there."""
