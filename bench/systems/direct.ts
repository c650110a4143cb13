/** No hops: what the two ends alone can do. */
import { type StartSystem, startStub } from './system.ts'

export const direct: StartSystem = async (context) => {
  const port = await startStub(context, 'direct', undefined)
  const tlsPort = await startStub(context, 'direct-tls', context.credentials)
  return { name: 'direct', port, tlsPort, credentials: context.credentials, pids: [] }
}
