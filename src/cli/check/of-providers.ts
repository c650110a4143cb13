/** The identity providers of the policy in force: whether their keys can be fetched, and how long that will go on. */
import { X509Certificate } from 'node:crypto'
import { fetchKeys } from '../../control/key-sets/fetch-keys.ts'
import { issuerOf } from '../../identity/providers/in-force.ts'
import { typeOf } from '../../identity/providers/index.ts'
import type { ProviderDocument } from '../../identity/providers/provider.ts'
import { loadProviders } from '../../policy/providers.ts'
import { type Finding, good, warning } from './finding.ts'
import { certificatesOf, lifeOf, ofLife } from './life.ts'

const category = 'identity providers'
const fetchMsMax = 10_000

/** Each is asked for its keys, just as the control plane does. */
export async function ofProviders(policy: string, nowMs: number): Promise<Finding[]> {
  const documents = loadProviders(policy)
  return (await Promise.all(documents.map((document) => ofProvider(document, nowMs)))).flat()
}

async function ofProvider(document: ProviderDocument, nowMs: number): Promise<Finding[]> {
  const { name, spec } = document
  const source = typeOf(spec).keySource(spec)
  if (source === undefined) return []
  const breaks = `keys of ${name} are fetched no more, and log-ins by it end when those of before are too old`
  const findings: Finding[] = []
  for (const certificate of certificatesOf(source.caPem ?? '')) {
    const found = ofLife(
      {
        category,
        what: `a root of caPem of ${name}`,
        ...lifeOf(certificate),
        renewsItself: false,
        breaks,
        hint: 'put the provider’s next root beside it in the policy',
      },
      nowMs,
    )
    if (found.level !== 'ok') findings.push(found)
  }
  const served = new Map<string, Buffer>()
  try {
    const keys = await fetchKeys(source, AbortSignal.timeout(fetchMsMax), undefined, (host, der) =>
      served.set(host, der),
    )
    findings.push(good(category, `${name} (${issuerOf(document)}) has ${keys.length} keys`))
  } catch (reason) {
    const why = reason instanceof Error ? reason.message : String(reason)
    findings.push(
      warning(
        category,
        `keys of ${name} cannot be fetched from here: ${why}`,
        'the control plane fetches them: does its log say so too',
      ),
    )
  }
  for (const [host, der] of served) {
    findings.push(
      ofLife(
        {
          category,
          what: `certificate of ${host}`,
          ...lifeOf(new X509Certificate(der)),
          breaks,
          hint: 'tell who runs the provider',
        },
        nowMs,
      ),
    )
  }
  return findings
}
