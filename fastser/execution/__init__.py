"""Who runs the trainings. Each executor has the interface of `fastser.execution.serial.run`."""
