"""The app as Azure Flex Consumption runs it: a process per scale group, down to none, woken when there is work.

``options`` what can be set, ``groups`` who shares instances, ``demand`` how many instances a group is asked for,
``controller`` starts and stops them, ``instances`` is a process seen from outside and ``instance`` from inside,
``front`` gives them requests, ``journal`` keeps what happened. Each rule has its source beside it.

What differs from Azure: instances share this machine, so a fourth instance makes no app faster on two cores. How often
the platform looks, how long a wake-up takes and which instance it stops are not published: they are Assumed, and can be
set. It adds at most four instances of a queue function at a time; here all that are asked for come at once.
https://learn.microsoft.com/azure/azure-functions/functions-target-based-scaling
"""
