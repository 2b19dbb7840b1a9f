"""What Azure runs: one FunctionApp with the functions of both flows and the pages.

Nothing happens at import, with one exception, the last line: Azure's runtime must start its thread pool anew.
"""

import azure.functions as func

from inbound_trigger.functions import inbound
from operations.functions import operations
from outbound_timer.functions import outbound
from shared.thread_pool import start_thread_pool

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
app.register_functions(inbound)
app.register_functions(outbound)
app.register_functions(operations)

start_thread_pool()
