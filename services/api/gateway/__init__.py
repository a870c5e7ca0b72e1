"""Workers that speak HTTP, as the rest of the system sees them: workers like any other.

For each of them the gateway says hello and beats on NATS, pulls tasks while somebody polls, claims each
before it hands it out (ahead of the poll, for a fast worker), keeps deliveries and leases alive, and
reports. It knows no dialect's words.
"""
