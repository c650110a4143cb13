/**
 * Loaded into a gateway or sidecar before its own code (`node --import`): for that process AWS STS of one region stands at a port of loopback, as
 * it stands at an address of one's own network where there is an endpoint for it. All else is as it is.
 */
import resolver from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import https from 'node:https'
import { syncBuiltinESMExports } from 'node:module'

const { RF_STS_HOST: host, RF_STS_PORT: port, RF_STS_CA: caFile } = process.env

if (host !== undefined && port !== undefined && caFile !== undefined) {
  const ca = readFileSync(caFile, 'utf8')
  const lookup = resolver.lookup.bind(resolver) as (name: string, options: object) => Promise<unknown>
  const request = https.request.bind(https) as (options: https.RequestOptions, ...rest: unknown[]) => unknown
  Object.assign(resolver, {
    lookup: (name: string, options: object) =>
      name === host ? Promise.resolve([{ address: '127.0.0.1', family: 4 }]) : lookup(name, options),
  })
  Object.assign(https, {
    request: (options: https.RequestOptions, ...rest: unknown[]) =>
      options.host === host ? request({ ...options, port, ca }, ...rest) : request(options, ...rest),
  })
  syncBuiltinESMExports()
}
