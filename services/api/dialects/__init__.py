"""The interfaces of other systems, one package each. They translate, and only translate; none imports
another.

A dialect is a `services.api.front.Dialect`: an ASGI application for the paths below its first segments. It
raises `Problem`, or any error that `translation` knows, and renders it in its own words.
"""
