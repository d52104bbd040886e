export async function check(_: string[]): Promise<void> {}
