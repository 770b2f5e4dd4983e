"""The built images: they run with any UID, without network, write only to mounted folders, and are reproducible."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from factoryspawner.login.password_file import write_passwords
from images.builder import tools
from images.builder.recipes import RECIPES
from tests.images.conftest import NAMES
from tests.images.engine import UID, Engine
from tests.support.podman import ARCH, archive, build, line

pytestmark = [pytest.mark.long, pytest.mark.root, pytest.mark.timeout(7200)]
HERE = Path(__file__).parent
KERNEL = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel()
client.execute_interactive("print(6 * 7)", timeout=120)
manager.shutdown_kernel(now=True)
"""


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_its_archive_its_sbom_and_no_more_than_its_size(images: Path, name: str) -> None:
    assert line(images, name)["bytes"] <= RECIPES[name].megabytes * 1e6
    assert archive(images, name).stat().st_size > 1e6
    sbom = (images / f"{name}-{ARCH}.spdx.json").read_text()
    assert str(images) not in sbom
    packages = {one["name"] for one in json.loads(sbom)["packages"]}
    expected = {"hub": "jupyterhub", "link": "asyncssh", "proxy": "configurable-http-proxy", "notebook-cpu": "dask"}
    assert {"python3", "ca-certificates", expected.get(name, "python3")} <= packages


def test_two_builds_give_the_same_ids(images: Path, tmp_path: Path) -> None:
    build(*NAMES, "--no-sbom", "--out", str(tmp_path), "--cache", str(images / "cache"))
    assert [line(tmp_path, name)["id"] for name in NAMES] == [line(images, name)["id"] for name in NAMES]
    for name in NAMES:
        if RECIPES[name].squashfs:
            one, other = (folder / f"{name}-{ARCH}.sqfs" for folder in (images, tmp_path))
            assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_no_compiler_and_no_file_that_only_root_may_read(engine: Engine, images: Path, name: str) -> None:
    image = engine.load(images, name)
    words = "gcc cc clang make node npm pip" if name != "proxy" else "gcc cc clang make npm pip"
    script = f"for name in {words}; do command -v $name; done; id -u; id -g; find /opt /etc/factorygate ! -readable"
    assert engine.run(image, "sh", "-c", script).split() == [str(UID), "0"]


def test_people_log_in_and_see_the_status_page(engine: Engine, images: Path, tmp_path: Path) -> None:
    secrets = {"service-token": "s" * 64, "proxy-token": "p" * 64, "admin-token": "a" * 64, "workshops-token": "w" * 64}
    etc, state, run = (tmp_path / name for name in ("etc", "state", "run"))
    for folder in (etc, state, run):
        folder.mkdir(mode=0o700)
    for name, secret in secrets.items():
        (etc / name).write_text(secret)
        (etc / name).chmod(0o600)
    write_passwords(etc / "passwords.json", {"ada": "ada-secret"})
    hub = {
        "public_url": "http://127.0.0.1:8000",
        "proxy_token_file": "proxy-token",
        "link_socket": "/run/factorygate/link.sock",
        "service_token_file": "service-token",
        "admin_token_file": "admin-token",
        "db_file": "/var/lib/factorygate/jupyterhub.sqlite",
        "cookie_secret_file": "/var/lib/factorygate/cookie_secret",
        "passwords_file": "passwords.json",
        "workshops": {"socket": "/run/factorygate/workshops.sock", "token_file": "workshops-token"},
    }
    link = {
        "catalogue": "/opt/factorygate/hub_config/factories",
        "state_dir": "/var/lib/factorygate/link",
        "socket": "/run/factorygate/link.sock",
        "hub": {"token_file": "service-token", "name": "test"},
        "workshops": {"table": "/var/lib/factorygate/workshops-projects.json", "pools": "pools.yaml"},
        "factories": {},
    }
    workshops = {
        "state_dir": "/var/lib/factorygate/workshops",
        "socket": "/run/factorygate/workshops.sock",
        "table": "/var/lib/factorygate/workshops-projects.json",
        "pools": "pools.yaml",
        "hub": {"public_url": "http://127.0.0.1:8000", "token_file": "workshops-token"},
    }
    (etc / "hub.yaml").write_text(yaml.safe_dump(hub))
    (etc / "link.yaml").write_text(yaml.safe_dump(link))
    (etc / "workshops.yaml").write_text(yaml.safe_dump(workshops))
    (etc / "pools.yaml").write_text("pools: []\n")
    (tmp_path / "proxy.env").write_text(f"CONFIGPROXY_AUTH_TOKEN={secrets['proxy-token']}\n")
    for path in (etc, state, run, *etc.iterdir()):
        os.chown(path, UID, 0)
    volumes = (f"--volume={etc}:/etc/factorygate:ro", f"--volume={state}:/var/lib/factorygate",
               f"--volume={run}:/run/factorygate")  # fmt: skip
    proxy = engine.start(engine.load(images, "proxy"), f"--env-file={tmp_path / 'proxy.env'}")
    shared = f"container:{proxy}"
    for name in ("link", "workshops"):
        engine.start(engine.load(images, name), *volumes, network=shared)
    started = engine.start(engine.load(images, "hub"), *volumes, network=shared)
    done = engine("exec", "--interactive", started, "python", "-", stdin=(HERE / "visit.py").read_text(), check=False)
    logs = engine.logs()
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{logs}"
    seen = json.loads(done.stdout)
    assert seen == {
        "status": [200, True],
        "wrong": 403,
        "right": [200, True, 200],
        "workshops": [200, {"status": "ok"}],
        "lost": [503, True],
    }, logs


def test_the_image_of_workshops_shares_the_packages_of_the_link_s(engine: Engine, images: Path) -> None:
    def layers(name: str) -> list[str]:
        listed = engine("image", "inspect", "--format={{json .RootFS.Layers}}", engine.load(images, name)).stdout
        return [str(one) for one in json.loads(listed)]

    assert layers("workshops")[-1] == layers("link")[-1]  # the other layer is its Debian root, which has git
    assert engine.run(engine.load(images, "workshops"), "git", "--version").startswith("git version")


def test_zones_under_older_names_are_known_in_the_image_of_workshops(engine: Engine, images: Path) -> None:
    code = "from workshops.times import zone_info; print(zone_info('Asia/Calcutta'), zone_info('Europe/Berlin'))"
    image = engine.load(images, "workshops")
    assert engine.run(image, "python", "-c", code).split() == ["Asia/Calcutta", "Europe/Berlin"]


def test_the_operators_command_runs_in_the_image_of_the_link(engine: Engine, images: Path) -> None:
    image = engine.load(images, "link")
    assert "Nothing is wrong" in engine.run(image, "factorygate", "catalogue", "check")


def test_a_kernel_prints_42_without_a_network(engine: Engine, images: Path) -> None:
    image = engine.load(images, "notebook-cpu")
    assert engine.run(image, "python", "-", stdin=KERNEL).split() == ["42"]


def test_the_notebook_image_is_an_environment_of_a_session(engine: Engine, images: Path) -> None:
    image = engine.load(images, "notebook-cpu")
    script = "import asyncssh, dask, factorygate.session, numpy, pandas, sklearn, zarr; print('good')"
    assert engine.run(image, "python", "-c", script).split() == ["good"]
    listed = engine.run(image, "sh", "-c", "jupyter labextension list 2>&1; git --version")
    assert "factorygate-lab" in listed
    assert "git version" in listed


def test_the_squashfs_runs_with_charliecloud_as_nobody(engine: Engine, images: Path, tmp_path: Path) -> None:
    assert tools.missing(tools.TRY) == []  # the fixture `engine` installs Charliecloud, too
    work = tmp_path / "work"
    work.mkdir()
    image = work / "notebook.sqfs"
    shutil.copy(images / f"notebook-cpu-{ARCH}.sqfs", image)
    for path in (work, *(parent for parent in work.parents if parent.owner() == "root" and len(parent.parts) > 2)):
        path.chmod(path.stat().st_mode | 0o755)
    words = "import os; print(os.getuid(), os.access('/opt/factorygate', os.W_OK))\n" + KERNEL
    # In the test's own mount namespace: /dev/fuse, which some machines do not give to ordinary users, and a TMPDIR.
    script = (
        "mknod -m 0666 /tmp/fuse-$$ c 10 229 && mount --bind /tmp/fuse-$$ /dev/fuse && rm /tmp/fuse-$$ && "
        f"cd {work} && exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "
        "env -i USER=nobody PATH=/usr/bin:/bin ch-run --unset-env='*' --set-env=HOME=/tmp "
        f"--set-env=PATH=/opt/factorygate/venv/bin:/usr/bin:/bin {image} -- python -"
    )
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "sh", "-c", script],
        input=words,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["65534", "False", "42"]), done.stderr


def test_the_wheels_for_another_architecture_are_complete(images: Path, tmp_path: Path) -> None:
    other = "aarch64" if ARCH == "x86_64" else "x86_64"
    argv = ["--arch", other, "--wheels-only", "--out", str(tmp_path), "--cache", str(images / "cache")]
    build(*NAMES, *argv)
    names = {path.name for path in (images / "cache" / "wheels" / other).glob("*.whl")}
    assert any(name.startswith("cryptography") and other in name for name in names)
    assert not any(ARCH in name for name in names)
