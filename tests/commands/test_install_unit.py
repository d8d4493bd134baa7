"""Tests of `gcsmux install-unit` and `gcsmux uninstall-unit` with the image of a machine.

The option --root names the image. tests/boot and tests/distribution run both commands under a real
systemd.
"""

from __future__ import annotations

import grp
import os
import pwd
import sys
from pathlib import Path

import pytest

from gcsmux_fs.commands import gcsmux
from gcsmux_fs.commands.mount_arguments import mount_arguments
from gcsmux_fs.settings.settings import Settings

COMMANDS = Path(sys.executable).parent
CONFIG = "etc/gcsmux/data.toml"
UNIT = "etc/systemd/system/gcsmux@.service"
LINK = "etc/systemd/system/multi-user.target.wants/gcsmux@data.service"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root of a machine's image, with a mount point and some files of other programs."""
    for folder in ("mnt/data", "etc/systemd/system", "usr/lib/systemd/system"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/hostname").write_text("machine\n")
    return tmp_path


def files(image: Path) -> dict[str, str]:
    return {
        path.relative_to(image).as_posix(): "" if path.is_symlink() else path.read_text()
        for path in image.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def directories(image: Path) -> set[Path]:
    return {path for path in image.rglob("*") if path.is_dir()}


def run(image: Path, *words: str) -> int:
    command, *rest = words
    return gcsmux.run([command, "--root", str(image), *rest])


def install(image: Path, *options: str) -> int:
    return run(image, "install-unit", "my-bucket", "/mnt/data", "--yes", *options)


def test_the_owner_of_a_directory_behind_a_link_never_changes(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = image / "etc/secret/data"
    secret.mkdir(parents=True)
    (image / "home").mkdir()
    (image / "home/link").symlink_to("../etc/secret")
    assert run(image, "install-unit", "b01", "/home/link/data", "--yes", "--user", "nobody") == 1
    assert "write the path without symbolic links" in capsys.readouterr().err
    assert secret.stat().st_uid == os.geteuid()
    assert run(image, "install-unit", "b01", "/mnt/data", "--yes", "--user", "nobody") == 0
    assert (image / "mnt/data").stat().st_uid == pwd.getpwnam("nobody").pw_uid


def test_a_dry_run_shows_everything_and_writes_nothing(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(image)
    assert install(image, "--dry-run", "--memory", "1GiB", "--user", "nobody", "--enable") == 0
    assert files(image) == before
    shown = capsys.readouterr().out
    assert f"write {image}/{CONFIG}\n" in shown
    assert '    memory = "1GiB"\n' in shown
    assert f"    + ExecStart={COMMANDS}/gcsmux-mount" in shown
    assert "    User=nobody\n" in shown
    assert f"run systemctl --root={image} enable gcsmux@data.service\n" in shown


def test_a_machine_without_systemctl_gets_one_sentence(
    image: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(image))
    assert install(image, "--enable") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"gcsmux: `systemctl --root={image} enable gcsmux@data.service` cannot")
    assert error.endswith("be run: No such file or directory.\n")


def test_a_mistyped_root_is_refused_and_not_created(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = image / "imgae"
    assert install(missing, "--mkdir") == 2
    assert run(missing, "uninstall-unit", "data", "--yes") == 2
    assert capsys.readouterr().err.count(f"--root: {missing} is no directory") == 2
    assert not missing.exists()


def test_the_configuration_sets_what_the_options_said(image: Path) -> None:
    key = image / "key.json"
    key.write_text("{}")
    options = ["--memory", "1GiB", "--metadata-ttl", "10s", "--allow-other", "-o", "noexec,posix"]
    assert install(image, *options, "--key-file", str(key), "--no-anonymous") == 0
    arguments = ["--config", str(image / CONFIG)]
    settings = mount_arguments.main(arguments, standalone_mode=False)
    assert isinstance(settings, Settings)
    assert (settings.bucket, str(settings.mountpoint)) == ("my-bucket", "/mnt/data")
    assert settings.memory_bytes == 2**30
    assert settings.metadata_ttl_seconds == 10
    assert settings.allow_other
    assert settings.posix
    assert settings.key_file == key
    assert settings.fuse_options == ("noexec",)


def test_the_unit_runs_the_command_of_this_installation(image: Path) -> None:
    assert install(image) == 0
    text = (image / UNIT).read_text()
    assert f"\nExecStart={COMMANDS}/gcsmux-mount " in text
    assert "/usr/local/bin" not in text


def test_uninstall_takes_everything_back(image: Path) -> None:
    before, folders_before = files(image), directories(image)
    assert (
        run(image, "install-unit", "my-bucket", "/mnt/new/data", "--yes", "--mkdir", "--enable")
        == 0
    )
    assert (image / "mnt/new/data").is_dir()
    assert (image / LINK).is_symlink()
    assert run(image, "uninstall-unit", "data", "--yes") == 0
    assert files(image) == before
    left = directories(image) - folders_before
    # systemctl creates the first folder and keeps it; the second is the parent of a mount point.
    assert left <= {(image / LINK).parent, image / "mnt/new"}


def test_uninstall_removes_a_directory_that_an_earlier_installation_created(image: Path) -> None:
    new = ["my-bucket", "/mnt/new", "--mkdir", "--yes"]
    assert run(image, "install-unit", *new) == 0
    assert run(image, "install-unit", *new, "--memory", "1GiB") == 0
    assert run(image, "uninstall-unit", "new", "--yes") == 0
    assert not (image / "mnt/new").exists()


def test_the_directory_of_a_cache_is_created_for_its_user_and_group_and_kept(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = ["--user", "nobody", "--cache-dir", "/var/cache/gcsmux"]
    assert install(image, *user, "--cache-group", "nogroup") == 0
    status = (image / "var/cache/gcsmux").stat()
    assert (pwd.getpwuid(status.st_uid).pw_name, status.st_mode & 0o7777) == ("nobody", 0o2770)
    assert grp.getgrgid(status.st_gid).gr_name == "nogroup"
    drop_in = image / "etc/systemd/system/gcsmux@data.service.d/user.conf"
    assert "\nUser=nobody\nAmbientCapabilities=CAP_SYS_ADMIN\nUMask=0007\n" in drop_in.read_text()
    assert install(image, *user[2:], "--force") == 0
    assert (image / "var/cache/gcsmux").stat().st_mode == status.st_mode, "it was changed"
    assert install(image, "--cache-dir", "/srv/cache", "--force") == 0
    assert (image / "srv/cache").stat().st_mode & 0o7777 == 0o700
    assert run(image, "uninstall-unit", "data", "--yes") == 0
    assert "`gcsmux cache clear /srv/cache` empties it" in capsys.readouterr().out
    assert (image / "srv/cache").is_dir()


def test_variables_that_override_the_configuration_are_named(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = image / "etc/gcsmux/data.env"
    variables.parent.mkdir()
    variables.write_text("BUCKET=gs://other-bucket\n")
    assert install(image, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert f"Note: the variables in {variables} override the configuration.\n" in shown


def test_the_unit_stays_while_another_configuration_needs_it(image: Path) -> None:
    assert install(image, "--user", "nobody") == 0
    assert install(image, "--name", "other") == 0
    assert run(image, "uninstall-unit", "data", "--yes") == 0
    assert UNIT in files(image)
    assert run(image, "uninstall-unit", "other", "--yes") == 0
    assert UNIT not in files(image)


def test_a_second_installation_replaces_what_was_not_edited(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(image) == 0
    assert install(image) == 0
    assert "There is nothing to do." in capsys.readouterr().out
    assert install(image, "--memory", "1GiB") == 0
    assert f"replace {image}/{CONFIG}" in capsys.readouterr().out
    assert 'memory = "1GiB"' in (image / CONFIG).read_text()


@pytest.mark.parametrize("path", [CONFIG, UNIT])
def test_an_edited_file_is_never_overwritten_silently(
    image: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(image) == 0
    file = image / path
    file.write_text(file.read_text() + "# edited\n")
    before = files(image)
    assert install(image, "--memory", "1GiB") == 2
    assert capsys.readouterr().err == (
        f"gcsmux: {file} was edited, or another program has written it: add --force to replace"
        " it.\n"
    )
    assert files(image) == before
    assert run(image, "uninstall-unit", "data", "--yes") == 0
    assert f"Note: {file} is kept, because it was edited." in capsys.readouterr().out
    assert file.exists()
    assert install(image, "--force") == 0
    assert "# edited" not in file.read_text()


def test_a_unit_of_a_package_is_used(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packaged = image / "usr/lib/systemd/system/gcsmux@.service"
    packaged.write_text("[Service]\nExecStart=/usr/bin/gcsmux-mount --foreground\n")
    (image / "usr/bin").mkdir()
    (image / "usr/bin/gcsmux-mount").symlink_to(COMMANDS / "gcsmux-mount")
    assert install(image) == 0
    assert "the unit of the package is used" in capsys.readouterr().out
    assert UNIT not in files(image)
    assert run(image, "uninstall-unit", "data", "--yes") == 0
    assert packaged.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["my-bucket", "/mnt/absent"],
            "{image}/mnt/absent does not exist: add --mkdir to create it.",
        ),
        (
            ["my-bucket", "/etc/hostname"],
            "{image}/etc/hostname is not a directory: write the path of an empty directory.",
        ),
        (
            ["my-bucket", "/mnt/data", "--name", "a/b"],
            "'a/b' cannot be the name of a unit: add --name with letters, digits, _, . and -.",
        ),
        (
            ["my-bucket", "/mnt/data", "--now"],
            "--now needs a running systemd: write --enable instead.",
        ),
        (
            ["my-bucket", "/mnt/data", "--memory", "1MiB"],
            "--memory 1MiB is too small: write at least 16MiB.",
        ),
        (
            ["my-bucket", "/mnt/data", "--memroy", "1GiB"],
            "unknown option --memroy: did you mean --memory?",
        ),
        (
            ["my-bucket", "/mnt/data"],
            "the command asks on a terminal only: add --yes, or --dry-run.",
        ),
    ],
)
def test_a_wrong_command_gets_one_sentence_and_changes_nothing(
    image: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(image)
    assert run(image, "install-unit", *words) == 2
    assert capsys.readouterr().err == f"gcsmux: {message.format(image=image)}\n"
    assert files(image) == before


def test_uninstall_names_the_installed_units(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(image) == 0
    capsys.readouterr()
    assert run(image, "uninstall-unit", "dat", "--yes") == 2
    assert capsys.readouterr().err == (
        f"gcsmux: {image}/etc/gcsmux/dat.toml does not exist: write the name of an installed unit"
        " (data).\n"
    )


def test_a_command_that_fails_is_named(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (image / "etc/systemd/system/multi-user.target.wants").write_text("not a folder\n")
    assert install(image, "--enable") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"gcsmux: `systemctl --root={image} enable gcsmux@data.service` failed")
    assert error.count("\n") == 1
