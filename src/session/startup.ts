/** What a client and a proxy settle before any request: the version, the options, the compression. What SUPPORTED says is what is done, and nothing else. */

import { RingfenceError } from '../base/errors.ts'
import type { Envelope } from '../cql/envelope.ts'
import { CqlErrorCode, gracefulDisconnect, type ProtocolVersion } from '../cql/protocol.ts'
import { readStartup } from '../cql/requests.ts'
import type { StartupInfo } from './backend.ts'

export const newestVersion: ProtocolVersion = 5

/** ScyllaDB's protocol extension: who names it in STARTUP hears of a limit by that error. */
const rateLimitErrorOption = 'SCYLLA_RATE_LIMIT_ERROR'

export const supportedOptions: ReadonlyMap<string, string[]> = new Map([
  ['CQL_VERSION', ['3.4.7']],
  ['COMPRESSION', ['lz4']],
  ['PROTOCOL_VERSIONS', ['3/v3', '4/v4', '5/v5']],
  [gracefulDisconnect, ['true']],
  [rateLimitErrorOption, [`ERROR_CODE=${CqlErrorCode.RATE_LIMIT_ERROR}`]],
])

/** Of a listener that tells nobody of the end of a connection. */
export const supportedWithoutTelling: ReadonlyMap<string, string[]> = new Map(
  [...supportedOptions].filter(([name]) => name !== gracefulDisconnect),
)

/** An option of STARTUP of Cassandra's own (`transport/messages/StartupMessage.java`): "1" for yes. */
const throwOnOverloadOption = 'THROW_ON_OVERLOAD'

/** An option of STARTUP, of our own. */
export const oneHostOption = 'RINGFENCE_ONE_HOST'

/** The words that drivers look for before they try a lower version (Cassandra's `transport/ProtocolVersion.java`). */
export function invalidVersion(version: number): string {
  const versions = supportedOptions.get('PROTOCOL_VERSIONS') ?? []
  return `Invalid or unsupported protocol version (${version}); supported versions are (${versions.join(', ')})`
}

export interface Startup {
  readonly info: StartupInfo
  readonly lz4: boolean
}

/** @throws RingfenceError PROTOCOL */
export function startupOf(envelope: Envelope, version: ProtocolVersion): Startup {
  const options = readStartup(envelope, version)
  if (!options.has('CQL_VERSION')) throw new RingfenceError('PROTOCOL', 'STARTUP without CQL_VERSION')
  const compression = options.get('COMPRESSION')?.toLowerCase()
  if (compression !== undefined && compression !== 'lz4') {
    throw new RingfenceError('PROTOCOL', `unknown compression algorithm: ${compression.slice(0, 32)}`)
  }
  const info = {
    version,
    driverName: options.get('DRIVER_NAME'),
    driverVersion: options.get('DRIVER_VERSION'),
    applicationName: options.get('APPLICATION_NAME'),
    oneHost: options.get(oneHostOption) === 'true',
    limitAnswers: {
      rateLimitError: options.has(rateLimitErrorOption),
      throwOnOverload: /^(?:1|true)$/i.test(options.get(throwOnOverloadOption) ?? ''),
    },
  }
  return { info, lz4: compression === 'lz4' }
}
