"""A local host for Azure Functions in Python: what ``func start`` does, without .NET.

Microsoft's own azure-functions-runtime indexes the app, converts values and calls the functions; this package is the
host around it: HTTP, queue and timer triggers, queue output and the admin routes, with the semantics of the real host
(each rule has a test that names its source).

What differs from Azure: one process and one instance, unless ``--flex`` runs the app as Flex Consumption does (the
package ``flex``); no dynamic concurrency. An invocation over functionTimeout ends the whole host, or its instance, not
a worker that is started again. Keys are those of the command line, the same for all functions. Retry policies of
timers are ignored, with a warning. Other bindings (blobs, tables, Durable) are not there: their functions are reported
and left out. ``--lease-seconds`` shortens the ten minutes after which a message of a killed host comes back. One smoke
test of the deployed app stays necessary.
"""
