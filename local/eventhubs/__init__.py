"""A stand-in for Event Hubs on loopback: the AMQP 1.0 that the official SDKs speak, over a log on disk.

The SDKs for Python (sync, aio) and JavaScript use it unmodified with a connection string that ends in
`UseDevelopmentEmulator=true`, which makes them speak plain TCP. Section numbers in these modules are those of the OASIS
AMQP 1.0 standard (part 1 types, 2 transport, 3 messaging, 5 security); names that begin with `x-opt-` or
`com.microsoft:` are Event Hubs' own, as azure-eventhub 5.15 and @azure/event-hubs 6.0 read and write them.

A connection's bytes go through `frames`, `decoding` and `performatives` into a `session`, whose links do the work:
`intake` appends what a peer publishes, `delivery` sends what a hub holds, `requests` answers `$cbs` and `$management`.
`hubs` and `log` keep the events. `faults` says what goes wrong on purpose, `control` sets it at run time.

Unlike the service: any consumer group exists, throughput has no quota, and there are no WebSockets.
"""
