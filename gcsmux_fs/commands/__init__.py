"""The commands. Each command converts its arguments to settings, and a failure to one sentence.

Each command is one module with `run(arguments) -> exit code`. `shared_options` contains the click
options that several commands have. `click_command` contains the additions to click.
"""
