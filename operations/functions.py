"""How people look at the app and act: the pages about runs and its health, the same as JSON, and what a person may do.

What they show and do is told in ``handlers.py`` and ``views.py``. Who may look: the host asks for a function key, in
the header ``x-functions-key`` or as ``?code=`` in the address. Who may act: with the key in the header only. A page of
somebody else's can make a browser send an address, and cannot make it send this header. Each function has keys of its
own, so that a key can open all of these but ``act``; which functions get which key stands in docs/setup.md.
"""

import azure.functions as func

operations = func.Blueprint()  # type: ignore[no-untyped-call]  # azure-functions does not annotate it


@operations.route(route="runs", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_runs(req: func.HttpRequest) -> func.HttpResponse:
    """Show the runs, newest first: as a page, or as JSON to who accepts nothing else."""
    from operations import handlers

    return handlers.runs(req)


@operations.route(route="runs.json", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_runs_as_json(req: func.HttpRequest) -> func.HttpResponse:
    """Show the same as JSON."""
    from operations import handlers

    return handlers.runs(req, as_json=True)


@operations.route(route="runs/{address}", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_run(req: func.HttpRequest) -> func.HttpResponse:
    """Show one run, step by step: as a page, or as JSON where its address ends so or nothing else is accepted."""
    from operations import handlers

    return handlers.run(req)


@operations.route(route="actions/{verb}", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def act(req: func.HttpRequest) -> func.HttpResponse:
    """Do what a person asks for: a verb of ``offers.py``, about what stands in the JSON of the request."""
    from operations import handlers

    return handlers.act(req)


@operations.route(route="health", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_health(req: func.HttpRequest) -> func.HttpResponse:
    """Show whether the app is well (200) or not (503): as a page, or as JSON to who accepts nothing else."""
    from operations import handlers

    return handlers.health_of_the_app(req)


@operations.route(route="health.json", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
def show_health_as_json(req: func.HttpRequest) -> func.HttpResponse:
    """Show the same as JSON."""
    from operations import handlers

    return handlers.health_of_the_app(req, as_json=True)
