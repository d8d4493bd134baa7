"""The rows of the table of settings for the address of the service and for the credentials."""

from __future__ import annotations

from gcsmux_fs.settings import value_types as types
from gcsmux_fs.settings.credential_options import CREDENTIAL_SETTINGS
from gcsmux_fs.settings.defaults import DEFAULT_DIRECT_PATH, DEFAULT_ENDPOINT, DIRECT_PATH_MODES
from gcsmux_fs.settings.setting import Setting

__all__ = ["SERVICE", "SERVICE_SETTINGS"]

SERVICE = "The service"
"""The heading of these settings in the help."""

SERVICE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="endpoint",
        field="endpoint",
        type=types.text("HOST:PORT", DEFAULT_ENDPOINT),
        heading=SERVICE,
        help="The address of the service.",
        default_words=DEFAULT_ENDPOINT,
        reason="it is Google's public endpoint",
    ),
    Setting(
        name="plaintext",
        field="plaintext",
        type=types.FLAG,
        heading=SERVICE,
        help="Connect without TLS. Requires --anonymous, because credentials are never sent in"
        " plaintext.",
        default=False,
        reason="other machines on the way could read the data",
    ),
    Setting(
        name="anonymous",
        field="anonymous",
        type=types.FLAG,
        heading=SERVICE,
        help="Send no credentials: for public buckets and emulators. Without this option,"
        " Application Default Credentials are used, as in Google's own tools.",
        default=False,
        reason="most buckets are not public",
        displaces=CREDENTIAL_SETTINGS,
    ),
    Setting(
        name="key_file",
        field="key_file",
        type=types.READABLE_FILE,
        heading=SERVICE,
        help="Use the credentials in this file instead of Application Default Credentials: the"
        " JSON key of a service account, or any other JSON file with credentials of Google Cloud."
        " The file is read again when it changes.",
        default_words="Application Default Credentials",
        reason="Google's own tools use them too",
        displaces=("anonymous", "token_file", "token_command"),
    ),
    Setting(
        name="token_file",
        field="token_file",
        type=types.FILE,
        displaces=("anonymous", "key_file", "token_command"),
        heading=SERVICE,
        help="Use the access token in this file: plain text, or JSON with its expiry. The file is"
        " read again when it changes, and when the service refuses the token.",
        default_words="none",
    ),
    Setting(
        name="token_command",
        field="token_command",
        type=types.COMMAND,
        secret=True,
        displaces=("anonymous", "key_file", "token_file"),
        heading=SERVICE,
        help="Use the access token that this command prints: plain text, or JSON with its expiry."
        " The command runs without a shell, again before the token expires.",
        default=(),
        default_words="none",
    ),
    Setting(
        name="impersonate_service_account",
        field="impersonate_service_account",
        type=types.ACCOUNTS,
        displaces=("anonymous",),
        heading=SERVICE,
        help="Use the rights of this service account. In a list, each account impersonates the"
        " next one, and the mount uses the rights of the last one, as with gcloud.",
        default=(),
        default_words="none",
    ),
    Setting(
        name="ca_file",
        field="ca_file",
        type=types.READABLE_FILE,
        heading=SERVICE,
        help="Trust only the certificate authorities in this PEM file, for the service and for"
        " token servers. For private endpoints, and for proxies that inspect TLS.",
        default_words="the public certificate authorities",
        reason="they have signed Google's certificates",
    ),
    Setting(
        name="billing_project",
        field="billing_project",
        type=types.PROJECT,
        heading=SERVICE,
        help="The project that is billed for requests to a requester-pays bucket.",
        default="",
        default_words="the owner of the bucket pays",
    ),
    Setting(
        name="direct_path",
        field="direct_path",
        type=types.choice(*DIRECT_PATH_MODES),
        heading=SERVICE,
        help="Connect past Google's front ends, which is possible on Compute Engine in the region"
        " of the bucket. try falls back to the normal way, require fails instead.",
        default=DEFAULT_DIRECT_PATH,
        reason="the normal way works from everywhere",
    ),
)
"""The settings that each command has that connects to the service."""
