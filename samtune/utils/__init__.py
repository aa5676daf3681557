"""segment_anything's own module names, so that its notebooks and scripts run with the import changed.

What stands here is samtune's under the authors' names and arguments, and nothing else belongs here.
"""
