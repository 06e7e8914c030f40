! Waits in a chain of functions whose names the compiler encodes.
module solver
  implicit none
  integer :: kept = 0
contains
  subroutine wait_cell(n)
    integer, intent(in) :: n
    call sleep(300)
    kept = n
  end subroutine
  subroutine solve(n)
    integer, intent(in) :: n
    call inner(n)
    kept = n
  contains
    subroutine inner(m)
      integer, intent(in) :: m
      call wait_cell(m)
      kept = m
    end subroutine
  end subroutine
end module
program main
  use solver
  print '(A)', 'ready'
  flush(6)
  call solve(3)
end program
