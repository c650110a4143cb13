/**
 * The `listeners` of a configuration file. TLS everywhere; a plain listener is for tools on the same host only, and speaks for
 * one configured identity.
 */
import { BlockList, isIP, isIPv6 } from 'node:net'
import { z } from 'zod'
import { unknownWord } from '../base/words.ts'
import { listenerModes, proofs } from '../identity/proofs/index.ts'
import { askedOf, shownBy } from '../identity/proofs/registry.ts'
import { isReserved, parseSpiffeId } from '../identity/spiffe.ts'
import { refusalModes } from './refusals.ts'

const cidr = z.string().refine(isCidr, 'expected an address or a network such as 10.0.0.0/8')

/** `unix:` and an absolute path; the system allows 107 bytes for the path. */
const unixPattern = /^unix:(\/[^\0]{1,106})$/

/** The path of a listener on a Unix socket; `undefined` for one with an IP address. */
export function socketPathOf(address: string): string | undefined {
  return unixPattern.exec(address)?.[1]
}

const listenerSchema = z.strictObject({
  address: z
    .string()
    .refine(
      (text) => isIP(text) !== 0 || socketPathOf(text) !== undefined,
      'expected an IP address, or unix: and an absolute path',
    ),
  port: z.int().min(0).max(65_535).optional(),
  tls: z.boolean().default(true),
  identity: z.string().optional(),
  authentication: z
    .union([z.array(z.string()).min(1), z.string()])
    .transform((given, context) => {
      if (typeof given !== 'string') return given
      const listed = Object.hasOwn(listenerModes, given) ? listenerModes[given] : undefined
      if (listed !== undefined) return [...listed]
      const modes = Object.keys(listenerModes)
      context.addIssue({ code: 'custom', message: unknownWord('value', given.slice(0, 64), modes) })
      return z.NEVER
    })
    .optional(),
  refusal: z.enum(refusalModes).optional(),
  proxyProtocol: z.strictObject({ from: z.array(cidr).min(1).max(64) }).optional(),
  gracefulDisconnect: z.boolean().optional(),
})

type Listener = z.infer<typeof listenerSchema>

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/**
 * Listeners of which none is unsafe: no plain one off loopback or without an identity, no identity on a TLS one. `further` says what else is
 * wrong with one.
 */
export function listenersSchema(further: (listener: Listener) => string | undefined = () => undefined) {
  const checked = listenerSchema.superRefine((listener, context) => {
    const message = problemOf(listener) ?? further(listener)
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  })
  return z.array(checked).min(1).max(16)
}

function problemOf(listener: Listener): string | undefined {
  const onSocket = socketPathOf(listener.address) !== undefined
  if (onSocket && listener.port !== undefined) return 'a Unix socket has no "port"'
  if (!onSocket && listener.port === undefined) return 'a listener at an IP address needs a "port"'
  if (onSocket && listener.proxyProtocol !== undefined) return 'the PROXY protocol is for listeners at an IP address'
  if (onSocket && listener.tls) return 'a Unix socket is a plain listener: say "tls: false" and give its "identity"'
  if (listener.tls) {
    if (listener.identity === undefined) return authenticationFault(listener.authentication)
    return 'a TLS listener takes the identity from the certificate; "identity" is for a plain one'
  }
  const family = isIPv6(listener.address) ? 'ipv6' : 'ipv4'
  if (!onSocket && !loopback.check(listener.address, family)) {
    return `a listener without TLS is allowed on loopback only, or on a Unix socket, not on ${listener.address}`
  }
  if (listener.authentication !== undefined)
    return '"authentication" is for a listener with TLS; a plain one has its "identity"'
  if (listener.identity === undefined) return 'a listener without TLS needs the "identity" that it speaks for'
  try {
    if (isReserved(parseSpiffeId(listener.identity)))
      return `${listener.identity} is the mesh's own and no identity for a listener`
  } catch (reason) {
    return reason instanceof Error ? reason.message : String(reason)
  }
  return undefined
}

/** What a client can show or answer at a listener with TLS. */
function authenticationFault(methods: readonly string[] | undefined): string | undefined {
  if (methods === undefined) return undefined
  const unheard = methods.find((method) => !proofs.ways.includes(method))
  if (unheard !== undefined)
    return `"authentication" names ${JSON.stringify(unheard.slice(0, 64))}; expected one of ${proofs.ways.join(', ')}`
  if (new Set(methods).size < methods.length) return '"authentication" names a way twice'
  const taken = proofs.taken(methods)
  const useless = taken.find((proof) => proof.asks === undefined && shownBy([proof], anyCertificate) === undefined)
  if (useless !== undefined) return `nobody can prove who it is by "${useless.method}" at a listener with TLS`
  const unasked = taken.find((proof) => proof.asks !== undefined && !askedOf(taken).some((asked) => asked === proof))
  return (
    unasked &&
    `"${unasked.method}" is asked for by another class name than what stands before it; give it a listener of its own`
  )
}

const anyCertificate = { certificates: [Buffer.alloc(0)], listenerIdentity: undefined }

function isCidr(text: string): boolean {
  const [address = '', bits, more] = text.split('/')
  const family = isIP(address)
  if (family === 0 || more !== undefined) return false
  return bits === undefined || (/^[0-9]{1,3}$/.test(bits) && Number(bits) <= (family === 6 ? 128 : 32))
}
