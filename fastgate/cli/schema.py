"""``fastgate schema``: the JSON Schema of the configuration."""

import click


@click.command()
@click.option("--reference", is_flag=True, help="Print the reference page (Markdown) instead.")
def schema(reference: bool) -> None:
    """Print the JSON Schema of the configuration, for editors.

    \b
    fastgate schema > fastgate.schema.json
    and as the first line of a TOML file (Taplo, Even Better TOML):
    #:schema fastgate.schema.json
    """  # noqa: D301 - click wants the control character itself
    if reference:
        from fastgate.config.publish.reference import render_reference
        from fastgate.policies.chain import render_policies

        click.echo(render_reference(render_policies()), nl=False)
        return
    import json

    from fastgate.config.publish.json_schema import make_schema

    click.echo(json.dumps(make_schema(), indent=2, ensure_ascii=False))
