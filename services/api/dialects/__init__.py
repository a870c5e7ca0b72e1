"""The interfaces of other systems, one package each. They translate, and only translate; none imports
another.

A dialect gives a router to `services.api.http.Parts.dialects`, in an order that lets literal paths win: the
one that takes `/api/{version}/{anything}` comes last. It raises `Problem`, or any error that `translation`
knows, and renders it in its own words with an exception handler for its own paths.
"""
