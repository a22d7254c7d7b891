pub struct WorkerStore;
