"""Write the file of the demo's names and passwords from the Secret's files, one for each person."""

from pathlib import Path

from factoryspawner.login.password_file import write_passwords

people = {path.name: path.read_text(encoding="utf-8") for path in Path("/run/secrets/factorygate-demo").glob("[!.]*")}
write_passwords(Path("/var/lib/factorygate/passwords.json"), people)
