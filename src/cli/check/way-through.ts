/**
 * The way through: one query by each door, as a client with a certificate of the mesh. It proves what no report can: NGINX runs and
 * leads to a gateway, the gateway to a sidecar, the sidecar to a node that answers.
 */
import { verifyPeer } from '../../identity/certificate.ts'
import { formatHostPort } from '../options.ts'
import type { Door } from './doors.ts'
import { type Finding, failure, good, warning } from './finding.ts'
import { type ProbeCertificate, type ProbeResult, probe } from './probe.ts'

const category = 'way through'
/** Everybody may ask it (`policy/builtin.ts`), and it is answered only where a node is. */
export const question = "SELECT release_version FROM system.local WHERE key = 'local'"
const unauthorized = 0x2100

/** @param client a certificate made for this check; undefined where the control plane could not make one */
export async function wayThrough(
  doors: readonly Door[],
  client: ProbeCertificate | undefined,
  trustDomain: string,
): Promise<Finding[]> {
  if (client === undefined) {
    return [
      warning(
        category,
        'no query was tried, for no certificate could be made',
        'the control plane makes it: see above',
      ),
    ]
  }
  if (doors.length === 0) {
    return [
      warning(
        category,
        'no query was tried: no gateway says where clients reach it',
        '--door <address:port>, or "advertise" in the gateway’s configuration',
      ),
    ]
  }
  return Promise.all(
    doors.map(async (door) =>
      ofResult(door, await probe({ target: door.target, way: client, query: question }), trustDomain),
    ),
  )
}

/** What an attempt means, and what to look at first. Exported for its test. */
export function ofResult(door: Door, result: ProbeResult, trustDomain: string, nowMs = Date.now()): Finding {
  const where = `${formatHostPort(door.target)} (${door.kind})`
  const behind = door.kind === 'sidecar' ? 'sidecar' : 'gateway'
  const { answer, peerDer, chainFault, rows, queryError } = result
  if (peerDer !== undefined) {
    const stranger = strangerOf(peerDer, chainFault, nowMs, trustDomain)
    if (stranger !== undefined)
      return failure(category, `${where} is not of this mesh: ${stranger}`, hintOfStranger(stranger))
  }
  switch (answer.kind) {
    case 'unreachable':
      return failure(
        category,
        `${where} cannot be reached: ${answer.text}`,
        door.kind === 'nginx'
          ? 'is NGINX running, and with the configuration of ringfence nginx config'
          : `is the ${behind} running, and is its address right`,
      )
    case 'silent':
      return failure(category, `${where} took the connection and said nothing for five seconds`, hintOfSilence(door))
    case 'closed':
      return failure(category, `${where} ended the connection: ${answer.text}`, hintOfClosed(door))
    case 'error':
      return failure(category, `${where} refuses: ${answer.text}`, hintOfError(answer.text))
    case 'asks':
      return failure(
        category,
        `${where} asks for a password, so it is no door of the mesh`,
        'does the address lead to Cassandra itself',
      )
    case 'ready':
      break
  }
  if (rows !== undefined)
    return good(category, `${where} answers a query, Cassandra ${rows[0] ?? 'of an unknown version'}`)
  if (queryError?.code === unauthorized) return good(category, `${where} answers: policy refuses the check itself`)
  return failure(
    category,
    `${where} does not answer a query: ${queryError?.text ?? 'nothing came'}`,
    hintOfError(queryError?.text ?? ''),
  )
}

/** Why the certificate is none of the mesh's; undefined where it is one. */
function strangerOf(
  der: Buffer,
  chainFault: string | undefined,
  nowMs: number,
  trustDomain: string,
): string | undefined {
  if (chainFault === 'CERT_NOT_YET_VALID') return 'its certificate is not yet valid by this host’s clock'
  if (chainFault === 'CERT_HAS_EXPIRED') return 'its certificate has expired by this host’s clock'
  try {
    verifyPeer(der, nowMs, trustDomain)
  } catch (reason) {
    return reason instanceof Error ? reason.message : String(reason)
  }
  return chainFault === undefined ? undefined : 'its certificate was not signed by this mesh’s authority'
}

function hintOfStranger(why: string): string {
  if (/not yet valid|expired/.test(why))
    return 'compare the clocks of both hosts: certificates live from minutes to hours'
  return 'does the address lead to a gateway or sidecar of this mesh'
}

function hintOfSilence({ kind }: Door): string {
  if (kind === 'sidecar') return 'is its Cassandra node stopped, or too slow to answer its sidecar'
  return 'does a process hang behind it; see the log of the gateway and of its sidecars'
}

function hintOfClosed({ kind }: Door): string {
  if (kind === 'nginx')
    return 'does it lead to a gateway’s listener, with proxy_protocol on; is the gateway running; see NGINX’s error log'
  if (kind === 'gateway') return 'a listener with proxyProtocol takes NGINX only; see the gateway’s log'
  return 'see the sidecar’s log: it says why'
}

function hintOfError(text: string): string {
  if (/no node|node of the cluster/i.test(text))
    return 'are the sidecars running (ringfence status), and Cassandra behind them'
  if (/record/i.test(text)) return 'the sidecar cannot write its record: is the disk full; see its log'
  return 'is Cassandra running behind the sidecars; see their logs'
}
