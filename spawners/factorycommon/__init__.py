"""Code that hub, link, workshops service and notebook share.

The notebook's part needs no other packages than pydantic and Babel; only reading translations (``language``) needs
Babel. ``ssh_data_path``, which only doors and the link import, needs asyncssh and cryptography. The folder ``service``
and the module ``service_address``, which the notebook does not import, need more packages.
"""
