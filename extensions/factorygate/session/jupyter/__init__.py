"""Classes that take the place of jupyter_server's own: for saving files, and for connecting pages to kernels."""
