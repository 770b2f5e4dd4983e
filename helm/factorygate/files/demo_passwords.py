"""Write the demo's file of names and passwords from the mounted Secret, in which each person has a file.

The file's name is the person's, and its content is the password.
"""

from pathlib import Path

from factoryspawner.login.password_file import write_passwords

people = {path.name: path.read_text(encoding="utf-8") for path in Path("/run/secrets/factorygate-demo").glob("[!.]*")}
write_passwords(Path("/var/lib/factorygate/passwords.json"), people)
