"""The browser window onto the marketplace: server-rendered pages over the services of the other apps.

Owns no table. Every page asks `market.portal.access` who is looking; every write calls a service.
"""
