"""What Azure runs: one FunctionApp with the functions of both flows and the pages. Nothing else happens at import."""

import azure.functions as func

from inbound_trigger.functions import inbound
from operations.functions import operations
from outbound_timer.functions import outbound

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
app.register_functions(inbound)
app.register_functions(outbound)
app.register_functions(operations)
