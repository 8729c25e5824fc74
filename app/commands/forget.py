"""`coord-users forget`: the right to erasure."""

from contextlib import closing

import click

from app.commands.shared import plainly, read_settings
from app.errors import ConfigurationError, UsersApiError


@click.command()
@click.option("--issuer", required=True, metavar="ISS", help="The `iss` of the user's JWTs.")
@click.option("--subject", required=True, metavar="SUB", help="Their `sub`.")
@click.option(
    "--partner", "partner_name", metavar="NAME", help="Needed if several have the issuer."
)
@plainly
def forget(issuer: str, subject: str, partner_name: str | None) -> None:
    """Delete a user's customer at Stripe, and all that is stored of the user.

    Through a crash, too: what was begun is finished by the running service, or by the same command
    again. Afterwards the same user can begin anew. Exit 1 if there is no such user.
    """
    from app.customers.forget import find_user
    from app.service import make_rule, open_database, open_stripe

    settings = read_settings()
    with closing(open_stripe(settings)) as stripe, closing(open_database(settings)) as database:
        rule = make_rule(settings, database, stripe)
        user_id = find_user(database, rule.installation, issuer, subject, partner_name)
        try:
            is_known = user_id is not None and rule.forgetting.forget(user_id)
        except UsersApiError as error:
            raise ConfigurationError(
                f"The user is not forgotten yet ({error}): repeat the command"
            ) from None
    if not is_known:
        raise ConfigurationError("There is no such user")
    click.echo("The user is forgotten.", err=True)
