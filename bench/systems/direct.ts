/** No hops: what the two ends alone can do. */
import { type StartSystem, startStub } from './system.ts'

export const direct: StartSystem = async (context) => {
  const port = await startStub(context, 'direct', context.clientTls ? context.credentials : undefined)
  return { name: 'direct', port, credentials: context.credentials, pids: [] }
}
