export async function work(): Promise<void> {}
