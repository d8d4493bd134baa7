"""The command `gcsmux changes`: sets up the notifications about changes of a bucket.

The module does not import gRPC, so `gcsmux changes --help` is answered fast.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gcsmux_fs.commands.click_command import SuggestingGroup, examples, parsed_by
from gcsmux_fs.commands.shared_options import (
    ConfigFile,
    config_option,
    effective_values,
    options_below,
    service_options,
    with_service_address,
)
from gcsmux_fs.model.errors import ConfigError, CredentialsError, GcsmuxError, StorageError
from gcsmux_fs.notifications.change_route import new_route
from gcsmux_fs.notifications.route_steps import StepKind
from gcsmux_fs.process.logs import printable, redacted
from gcsmux_fs.process.shell_commands import command_line
from gcsmux_fs.settings.bucket_address import parse_bucket
from gcsmux_fs.settings.change_settings import CHANGES
from gcsmux_fs.settings.credential_options import parse_accounts
from gcsmux_fs.settings.json_address import json_address
from gcsmux_fs.settings.pubsub_address import pubsub_address
from gcsmux_fs.settings.service_address import ServiceAddress
from gcsmux_fs.settings.value_types import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcsmux_fs.notifications.change_route import ChangeRoute
    from gcsmux_fs.notifications.route_steps import RouteStep
    from gcsmux_fs.notifications.route_survey import BucketCalls, PubsubCalls, RouteSurvey
    from gcsmux_fs.settings.subscription_name import SubscriptionName
    from gcsmux_fs.storage.channels import ChannelSettings

    _Decorated = TypeVar("_Decorated", bound=Callable[..., object])
    _Plan = Callable[[ChangeRoute, RouteSurvey], list[RouteStep]]

__all__ = ["changes"]

# The variables in which Google's tools look for the project.
_PROJECT_VARIABLES = ("GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT")
_DONE = {StepKind.CREATE: "created", StepKind.DELETE: "deleted"}


@click.group(
    cls=SuggestingGroup,
    name="changes",
    no_args_is_help=True,
    epilog=examples(
        "gcsmux changes setup --project my-project my-bucket",
        "gcsmux changes setup --project my-project my-bucket --apply",
        "gcsmux changes teardown --project my-project my-bucket",
    ),
)
def changes() -> None:
    """Set up the notifications with which a mount sees each change at once.

    Cloud Storage publishes the changes of a bucket on a topic of Pub/Sub. A mount with --changes
    receives them by a subscription of its own. docs/CHANGES.md explains both, and what they cost.
    """


def _route_options(command: _Decorated) -> _Decorated:
    decorators: tuple[Callable[[Any], Any], ...] = (
        click.argument("bucket", metavar="[BUCKET]", required=False),
        click.option("--only-dir", metavar="PREFIX", help="Only this folder of the bucket."),
        click.option(
            "--project",
            metavar="PROJECT",
            help="The project of the topic and of the subscriptions.  [default: the project of"
            " --changes, or GOOGLE_CLOUD_PROJECT]",
        ),
        click.option("--topic", metavar="NAME", help="The topic.  [default: gcsmux-BUCKET]"),
        click.option(
            "--subscription",
            "subscriptions",
            metavar="NAME",
            multiple=True,
            help="The subscription of one mount; may be repeated.  [default: gcsmux-BUCKET-HOST, or"
            " the one of --changes]",
        ),
    )
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


@changes.command(
    "setup",
    short_help="Create what mounts need for --changes.",
    epilog=examples(
        "gcsmux changes setup --project my-project my-bucket",
        "gcsmux changes setup --project my-project gs://my-bucket/logs --apply",
        "gcsmux changes setup --config /etc/gcsmux/data.toml --apply",
    ),
)
@_route_options
@click.option(
    "--account",
    "accounts",
    metavar="EMAIL[,EMAIL]",
    callback=parsed_by(parse_accounts),
    help="Let these service accounts, which mounts use, pull from the subscriptions.",
)
@click.option("--apply", "applies", is_flag=True, help="Create what is missing.")
@options_below(CHANGES)
@service_options
@config_option
def setup(*, accounts: tuple[str, ...] | None, applies: bool, **options: Any) -> None:
    """Create what mounts of BUCKET need for --changes: topic, permissions, subscriptions.

    Without --apply, the command changes nothing: it shows what is missing, and the commands of
    gcloud that create it. What exists and is right is kept. What exists and is wrong is named, and
    then nothing is created.

    Each mount needs a subscription of its own. Exit code: 0 after success, 1 after a failure, or if
    something is wrong.
    """
    from gcsmux_fs.notifications.setup_plan import plan_setup

    request = _request(options, accounts or ())
    steps = _run(request, plan_setup, applies=applies)
    if applies:
        _check(request, plan_setup)
    elif any(step.action for step in steps):
        click.echo("\nNothing was changed. Run these commands, or this command with --apply.")
    click.echo("\nMount with:")
    for name in request.route.subscriptions:
        line = command_line("gcsmux-mount", f"--changes={name}", request.route.address)
        click.echo(f"        {line} MOUNTPOINT")
    click.echo("\nCheck whether changes arrive with:")
    for name in request.route.subscriptions:
        line = command_line("gcsmux", "doctor", f"--changes={name}", request.route.address)
        click.echo(f"        {line}")


@changes.command(
    "teardown",
    epilog=examples(
        "gcsmux changes teardown --project my-project my-bucket",
        "gcsmux changes teardown --project my-project my-bucket --apply",
    ),
)
@_route_options
@click.option("--apply", "applies", is_flag=True, help="Delete what is shown.")
@options_below(CHANGES)
@service_options
@config_option
def teardown(*, applies: bool, **options: Any) -> None:
    """Delete what `gcsmux changes setup` has made.

    Without --apply, the command changes nothing: it shows what would be deleted. The topic and the
    notification configuration stay as long as another subscription uses the topic. What has no
    mark of setup always stays. Exit code: 0 after success, 1 after a failure.
    """
    from gcsmux_fs.notifications.teardown_plan import plan_teardown

    steps = _run(_request(options, ()), plan_teardown, applies=applies)
    if not any(step.action for step in steps):
        unknown = any(step.kind is StepKind.UNKNOWN for step in steps)
        click.echo("There is nothing to delete" + (" that could be read." if unknown else "."))
    elif not applies:
        click.echo("\nNothing was changed. Run these commands, or this command with --apply.")


@dataclass(frozen=True, slots=True)
class _Request:
    """What a command is about, and how it reaches the services."""

    route: ChangeRoute
    settings: ChannelSettings
    pubsub: ServiceAddress
    json_address: str


def _request(options: dict[str, Any], accounts: tuple[str, ...]) -> _Request:
    own = {name: options.pop(name) for name in ("project", "topic", "subscriptions")}
    config: ConfigFile | None = options.pop("config")
    merged = with_service_address(effective_values(config, options), uses_pubsub=True)
    values = {field: each.value for field, each in merged.items()}
    if not values["bucket"]:
        raise ConfigError("BUCKET is missing: write gcsmux changes COMMAND [OPTIONS] BUCKET.")
    bucket, prefix = parse_bucket(values["bucket"], values["only_dir"])
    project, names = _project_and_names(values["changes"], own["project"], own["subscriptions"])
    # gRPC reads this variable when it is loaded. Without it gRPC logs to stderr.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from gcsmux_fs.storage.channels import ChannelSettings

    storage = ServiceAddress(values["endpoint"], values["plaintext"], values["anonymous"])
    return _Request(
        new_route(
            bucket,
            prefix,
            project,
            topic=own["topic"],
            subscriptions=names,
            accounts=accounts,
            machine=platform.node(),
        ),
        ChannelSettings.of(values.__getitem__),
        pubsub_address(values["pubsub_endpoint"], anonymous=storage.anonymous),
        json_address(storage, os.environ),
    )


def _project_and_names(
    given: SubscriptionName | None, project: str | None, names: tuple[str, ...]
) -> tuple[str, tuple[str, ...]]:
    """Return the project, and the names of the subscriptions; no names for the default."""
    if given is not None and (names or project not in (None, given.project)):
        option = "--subscription" if names else "--project"
        raise ConfigError(f"--changes and {option} name two subscriptions: leave one of them out.")
    if given is not None:
        return given.project, (given.subscription,)
    for name in _PROJECT_VARIABLES:
        project = project or os.environ.get(name)
    if not project:
        raise ConfigError(
            "the project is missing: name the project of the topic and the subscriptions with"
            " --project."
        )
    return PROJECT.parse(project), names


def _run(request: _Request, plan: _Plan, *, applies: bool) -> list[RouteStep]:
    """Show the plan, and carry it out with `applies`. Return its steps.

    Raises:
        GcsmuxError: a part is wrong, a service does not answer, or a call failed.
    """
    from gcsmux_fs.notifications.route_services import open_services
    from gcsmux_fs.notifications.route_survey import (
        check_services_answer,
        survey_route,
        unknown_route,
    )

    route = request.route
    try:
        with open_services(request.settings, request.pubsub, request.json_address) as services:
            survey = survey_route(route, *services)
            check_services_answer(survey)
            steps = plan(route, survey)
            _show(steps, with_commands=not applies)
            _refuse(steps, applies=applies)
            if applies:
                _apply(steps, *services)
    except CredentialsError as error:
        if applies:
            raise
        click.echo(f"Note: what exists cannot be examined: {_shown(str(error))}.", err=True)
        steps = plan(route, unknown_route(route, StorageError("not examined")))
        _show(steps)
    return steps


def _check(request: _Request, plan: _Plan) -> None:
    """Read everything again, and raise GcsmuxError if the plan still finds something to do."""
    from gcsmux_fs.notifications.route_services import open_services
    from gcsmux_fs.notifications.route_survey import survey_route

    route = request.route
    with open_services(request.settings, request.pubsub, request.json_address) as services:
        left = [step for step in plan(route, survey_route(route, *services)) if step.action]
    if left:
        raise GcsmuxError(f"the {left[0].what} is still missing: run the command again.")
    click.echo("\nAll parts exist and fit together.")


def _refuse(steps: Sequence[RouteStep], *, applies: bool) -> None:
    """Raise GcsmuxError if a part is wrong, or is unknown and would be changed."""
    wrong = [step for step in steps if step.kind is StepKind.WRONG]
    unknown = [step for step in steps if step.kind is StepKind.UNKNOWN and step.is_vital]
    if wrong:
        raise GcsmuxError(f"nothing was changed, because the {wrong[0].what} is wrong.")
    if applies and unknown:
        raise GcsmuxError(f"nothing was changed, because the {unknown[0].what} cannot be examined.")


def _apply(steps: Sequence[RouteStep], pubsub: PubsubCalls, buckets: BucketCalls) -> None:
    from gcsmux_fs.notifications.route_services import carry_out

    def waiting(message: str) -> None:
        click.echo(f"waiting until the new permission has an effect ({_shown(message)})")

    for step in steps:
        if step.action is not None:
            carry_out(step, pubsub, buckets, waiting=waiting)
            click.echo(f"{_DONE[step.kind]} {step.what}")


def _show(steps: Sequence[RouteStep], *, with_commands: bool = True) -> None:
    for step in steps:
        detail = f" ({_shown(step.detail)})" if step.detail else ""
        click.echo(f"{step.kind:<8}{step.what}{detail}")
        if step.remedy:
            click.echo(f"{'':8}{_shown(step.remedy)}")
        if step.command and with_commands:
            click.echo(f"{'':8}{step.command}")


def _shown(text: str) -> str:
    """Return a text that may quote a server, without secrets and control characters."""
    return printable(redacted(text))
