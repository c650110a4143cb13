/**
 * Where an admin port may be: on this machine only. What it shows (who is here, what is in force) and does (to drain) is not for the network, and
 * it asks nobody who he is.
 */
import { BlockList, isIP, isIPv6 } from 'node:net'
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'

export type AdminAddress = { readonly path: string } | { readonly host: string; readonly port: number }

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

const advice =
  'give 127.0.0.1 or [::1] and a port, or unix: and an absolute path; to scrape from elsewhere see docs/observe.md'

/** `127.0.0.1:9465`, `[::1]:9465`, `unix:/run/ringfence/admin.sock`. @throws RingfenceError CONFIG */
export function parseAdminAddress(text: string): AdminAddress {
  const path = /^unix:(\/[^\0]{1,106})$/.exec(text)?.[1]
  if (path !== undefined) return { path }
  const [, six, four, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text) ?? []
  const host = six ?? four ?? ''
  const port = Number(digits)
  if (isIP(host) === 0 || !(port <= 65_535)) {
    throw new RingfenceError('CONFIG', `${text} is no address of an admin port`, { hint: advice })
  }
  if (!loopback.check(host, isIPv6(host) ? 'ipv6' : 'ipv4')) {
    throw new RingfenceError('CONFIG', `an admin port is on loopback only, and ${host} is not`, { hint: advice })
  }
  return { host, port }
}

/** For who looks whether it is free before anything starts. */
export function adminPorts(address: AdminAddress | undefined): { readonly address: string; readonly port?: number }[] {
  if (address === undefined) return []
  return 'path' in address ? [{ address: `unix:${address.path}` }] : [{ address: address.host, port: address.port }]
}

export const adminSchema = z.strictObject({
  listen: z.string().transform((text, context) => {
    try {
      return parseAdminAddress(text)
    } catch (reason) {
      const { message, hint } = RingfenceError.from(reason, 'CONFIG')
      context.addIssue({ code: 'custom', message: hint === undefined ? message : `${message}; ${hint}` })
      return z.NEVER
    }
  }),
  /** `/cpuprofile` and `/heapsnapshot`. */
  profiling: z.boolean().default(false),
})
