/** Where proxies are reached. */
import { isIP, SocketAddress } from 'node:net'
import { z } from 'zod'
import { nameMax } from './roles.ts'

/** Sidecars that gateways are told of. */
export const sidecarEndpointsMax = 10_000

/** Where a live sidecar takes mesh links. */
export const sidecarEndpoint = z.object({
  name: z.string().min(1).max(nameMax),
  spiffeId: z.string().max(2048),
  address: z.string().min(1).max(255),
  port: z.int().min(1).max(65_535),
  dataCenter: z.string().max(nameMax).optional(),
  rack: z.string().max(nameMax).optional(),
})

export interface SidecarEndpoint {
  readonly name: string
  readonly spiffeId: string
  readonly address: string
  readonly port: number
  readonly dataCenter?: string | undefined
  readonly rack?: string | undefined
}

/** An address that gateways tell drivers: NGINX's, or a listener of their own. IPv6 is brought to one way of writing. */
export const advertisedAddress = z.strictObject({
  address: z
    .string()
    .refine((text) => isIP(text) !== 0 && !text.includes('%'), 'expected an IP address')
    .transform((text) => new SocketAddress({ address: text, family: text.includes(':') ? 'ipv6' : 'ipv4' }).address),
  port: z.int().min(1).max(65_535),
})

export interface AdvertisedAddress {
  /** IPv4 or IPv6 without brackets. */
  readonly address: string
  readonly port: number
}

/** Addresses that one gateway may advertise. */
export const advertisedMax = 256

/** Entries of the list of gateways: each gateway's addresses, one entry for each. What would be beyond is left out of it. */
export const gatewayEndpointsMax = 1_024

/** An address of a live gateway. Several gateways may have the same address: it is there while one of them is. */
export const gatewayEndpoint = z.object({
  name: z.string().min(1).max(nameMax),
  spiffeId: z.string().max(2048),
  ...advertisedAddress.shape,
  dataCenter: z.string().max(nameMax).optional(),
  rack: z.string().max(nameMax).optional(),
  leaving: z.boolean().optional(),
})

export interface GatewayEndpoint extends AdvertisedAddress {
  /** As it enrolled. */
  readonly name: string
  readonly spiffeId: string
  /** Where its configuration says that it stands. */
  readonly dataCenter?: string | undefined
  readonly rack?: string | undefined
  /** It is about to stop: it takes nobody new, and answers who is there until it has ended. */
  readonly leaving?: boolean | undefined
}
