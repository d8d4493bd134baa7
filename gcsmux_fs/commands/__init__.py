"""The commands: they convert arguments to settings, and report a failure in one sentence.

Each command is one module with `run(arguments) -> exit code`. `shared_options` contains the click
options that several commands have. `click_command` extends click.
"""
