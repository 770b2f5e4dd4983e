"""What takes the place of jupyter_server's own classes: how files are saved, and how pages connect to kernels."""
