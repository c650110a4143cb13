import { useMesh } from './fixture.ts'
const mesh = await useMesh()
for (const n of ['sidecar-1', 'sidecar-2', 'sidecar-3', 'gateway']) { await mesh.part(n).stop(); await mesh.part(n).start() }
process.exit(0)
