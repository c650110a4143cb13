/** The control plane, with the policy that it starts with. */
import { show, trustDomain } from './layout.ts'
import type { Making } from './mesh-options.ts'
import { type MeshPart, partOf, spawnRingfence, untilReady } from './part.ts'

export function controlPart({ layout, options, processes, admin }: Making): MeshPart {
  const { control, dirs } = layout
  const { svidTtl = '1h', policyFile } = options
  const args = ['control', '--state-dir', dirs.control, '--listen', `${control.address}:${control.port}`]
  args.push('--trust-domain', trustDomain, '--svid-ttl', svidTtl, '--policy', policyFile, '--name', '1')
  if (options.issuingTtl !== undefined) args.push('--issuing-ttl', options.issuingTtl)
  args.push('--admin', show(layout.admin.control))
  return partOf('control', async () => {
    const child = await spawnRingfence(processes, 'control', args)
    await untilReady(child, async () => (await admin.status().catch(() => undefined)) !== undefined)
    return child
  })
}
