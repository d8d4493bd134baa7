"""The commands: each turns its arguments into settings, and a failure into one sentence.

Each command is one module with `run(arguments) -> exit code`. `shared_options` holds the click
options that several commands have, `click_command` what all need of click.
"""
