/**
 * The ways around the mesh: a locked Cassandra node lets nobody in but its sidecars, whichever way one comes. Each way is tried, and the
 * password that every Cassandra starts with beside.
 */
import { X509Certificate } from 'node:crypto'
import { readLeaf } from '../../identity/certificate.ts'
import { pathSegmentsOf } from '../../identity/spiffe.ts'
import { formatHostPort, type HostPort } from '../options.ts'
import { type Finding, failure, good, warning } from './finding.ts'
import { lifeOf, ofLife } from './life.ts'
import { type ProbeAnswer, type ProbeCertificate, type ProbeWay, probe } from './probe.ts'

const category = 'cassandra'
const firstPassword = ['cassandra', 'cassandra'] as const
const lockHint =
  'docs/production.md locks a node: enabled true, optional false, require_client_auth true, MutualTlsAuthenticator'

interface Way {
  /** How one comes, as part of a sentence. */
  readonly words: string
  readonly way: ProbeWay
}

/**
 * Tries each way into each node.
 * @param stranger a certificate of the mesh that no node knows; undefined where none could be had, which is a finding too
 */
export async function waysAround(
  nodes: readonly HostPort[],
  stranger: ProbeCertificate | undefined,
  nowMs = Date.now(),
): Promise<Finding[]> {
  if (nodes.length === 0) {
    return [
      warning(
        category,
        'no node was tried, so nothing is known of ways around the mesh',
        '--cassandra <address:port>, once for each node, on a host that reaches its CQL port',
      ),
    ]
  }
  const ways: Way[] = [
    { words: 'without TLS', way: 'plain' },
    { words: 'by TLS without a certificate', way: 'tls' },
    ...(stranger === undefined ? [] : [{ words: 'by another certificate of the mesh', way: stranger }]),
  ]
  const found = await Promise.all(nodes.map((node) => ofNode(node, ways, nowMs)))
  const untried =
    stranger === undefined
      ? [
          warning(
            category,
            'another certificate of the mesh was not tried, for none could be made',
            'the control plane makes it: see above',
          ),
        ]
      : []
  return [...found.flat(), ...untried]
}

async function ofNode(node: HostPort, ways: readonly Way[], nowMs: number): Promise<Finding[]> {
  const where = formatHostPort(node)
  const findings: Finding[] = []
  let served: Buffer | undefined
  for (const { words, way } of ways) {
    const { answer, peerDer } = await probe({ target: node, way, password: firstPassword })
    if (peerDer !== undefined && isProxy(peerDer)) {
      return [
        warning(
          category,
          `${where} is a proxy of the mesh and no node, so nothing is known of the node`,
          'give the address that Cassandra itself listens at, such as "upstream" in the sidecar’s configuration',
        ),
      ]
    }
    served ??= peerDer
    if (answer.kind === 'unreachable') {
      return [
        ...findings,
        warning(
          category,
          `${where} cannot be reached from here: ${answer.text}`,
          'is Cassandra running; if it is, run the check on its own host, for there nothing hides it',
        ),
      ]
    }
    findings.push(ofAnswer(where, words, answer))
  }
  return served === undefined ? findings : [...findings, ofServed(where, served, nowMs)]
}

function ofServed(where: string, der: Buffer, nowMs: number): Finding {
  return ofLife(
    {
      category,
      what: `certificate of the node at ${where}`,
      ...lifeOf(new X509Certificate(der)),
      breaks: 'its sidecar connects to it no more',
      hint: 'is ringfence agent running there; Cassandra reads its file every ten minutes, and by nodetool reloadssl',
    },
    nowMs,
  )
}

function ofAnswer(where: string, words: string, answer: Exclude<ProbeAnswer, { kind: 'unreachable' }>): Finding {
  switch (answer.kind) {
    case 'ready':
      return failure(category, `${where} lets everybody in ${words}, and asks for nothing`, lockHint)
    case 'asks': {
      if (answer.passwordTaken) {
        const who = takesPasswords(answer.authenticator) ? 'cassandra/cassandra' : 'a stranger'
        return failure(category, `${where} lets ${who} in ${words}`, lockHint)
      }
      if (takesPasswords(answer.authenticator)) {
        return failure(
          category,
          `${where} takes passwords ${words}, so whoever knows one walks around the mesh`,
          lockHint,
        )
      }
      // Without TLS a node that speaks CQL at all has said too much, even if it refuses the log-in.
      if (words === 'without TLS') return failure(category, `${where} speaks CQL without TLS`, lockHint)
      return good(category, `${where} lets nobody in ${words}`)
    }
    case 'error':
      if (words === 'without TLS') return failure(category, `${where} speaks CQL without TLS`, lockHint)
      return good(category, `${where} lets nobody in ${words}`)
    case 'silent':
      return warning(
        category,
        `${where} took the connection ${words} and said nothing for five seconds`,
        'is it Cassandra, and does it answer its sidecar; try again',
      )
    case 'closed':
      return good(category, `${where} lets nobody in ${words}`)
  }
}

function isProxy(der: Buffer): boolean {
  try {
    const [reserved, part] = pathSegmentsOf(readLeaf(der).spiffeId)
    return reserved === 'ringfence' && (part === 'gateway' || part === 'sidecar')
  } catch {
    return false
  }
}

function takesPasswords(authenticator: string): boolean {
  return /password/i.test(authenticator)
}
