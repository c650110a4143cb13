/** What the admin port of a proxy shows of its side of the control plane: configuration, what was pushed, certificates. Never a key. */
import { certificatesIn } from '../mesh/admin/certificates.ts'
import { shownPushed } from '../mesh/admin/pushed.ts'
import type { Credentials } from '../mesh/credentials.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { counter, type Family, gauge } from '../telemetry/metrics/family.ts'
import type { Agent } from './agent.ts'

export interface ShownProxy {
  readonly agent: Pick<Agent, 'role' | 'name' | 'credentials' | 'value'>
  readonly version: string
  readonly configFile: string
  /** As it was read, with what is there where nothing was said. It names files that have secrets, and has none. */
  readonly config: {
    readonly control: { readonly url: string }
    readonly nodeCertificate?: { readonly reload: string } | undefined
  }
}

export function configDumpOf({ agent, version, configFile, config }: ShownProxy): object {
  return {
    role: agent.role,
    name: agent.name,
    version,
    configuration: { from: configFile, value: withoutCommand(config) },
    pushed: shownPushed((kind) => agent.value(kind), agent.role, { from: config.control.url }),
  }
}

/** Whoever wrote the line may have put a password into it. */
function withoutCommand(config: ShownProxy['config']): object {
  const { nodeCertificate } = config
  return nodeCertificate === undefined
    ? config
    : { ...config, nodeCertificate: { ...nodeCertificate, reload: '(a command)' } }
}

export function certsOf({ spiffeId, certificatePem, bundlePem }: Credentials): object {
  return { spiffeId, chain: certificatesIn(certificatePem), roots: certificatesIn(bundlePem) }
}

/** Counts from now on. */
export class ProxyMetrics {
  readonly #proxy: ShownProxy
  #renewals = 0

  constructor(proxy: ShownProxy) {
    this.#proxy = proxy
    proxy.agent.credentials.observe(() => {
      this.#renewals++
    })
  }

  families(): Family[] {
    const { agent, version } = this.#proxy
    const { role, name, credentials } = agent
    return [
      gauge('ringfence_build_info', 'What runs here.', [{ labels: { version, role, name }, value: 1 }]),
      gauge(
        'ringfence_identity_cert_expiration_timestamp_seconds',
        'When its certificate ends, since 1970.',
        credentials.current.notAfterMs / 1000,
        'min',
      ),
      gauge(
        'ringfence_identity_cert_issued_timestamp_seconds',
        'When its certificate begins, since 1970: a minute before it was signed.',
        credentials.current.notBeforeMs / 1000,
        'min',
      ),
      counter(
        'ringfence_identity_cert_refresh',
        'Times that it was given another certificate or roots.',
        this.#renewals,
      ),
      gauge(
        'ringfence_policy_received_revision',
        'Of the policy that was pushed last.',
        agent.value(pushedKinds.policy).current.revision,
        'min',
      ),
    ]
  }
}
